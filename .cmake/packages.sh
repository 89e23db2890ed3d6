# Sourced by tests/run.sh and examples/run.sh: the Debian packages that a build needs, and how to get them.

packages=(cmake ninja-build ccache g++ pkg-config git
          libxtensor-dev libxtensor-blas-dev libxsimd-dev libopenblas-dev liblapacke-dev libsleef-dev
          doctest-dev libbenchmark-dev zlib1g-dev liblbfgs-dev libmetis-dev libpng-dev nlohmann-json3-dev)
# Draws the plots of reports; without it these hold the numbers as tables.
optional=(gnuplot-nox)

# Installs what is missing: as root, or through sudo; where neither is possible prints the line to run, and stops.
install_packages() {
  command -v dpkg-query >/dev/null || return 0  # not Debian: CMake says what it does not find
  install_required
  command -v gnuplot >/dev/null || ((EUID != 0)) ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o Acquire::Retries=0 \
      -o Acquire::http::Timeout=5 "${optional[@]}" </dev/null >/dev/null 2>&1 ||
    echo "Not installed, as it is optional: ${optional[*]}"
}

install_required() {
  local missing=() package
  for package in "${packages[@]}"; do
    [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local as_root=()
  if ((EUID != 0)); then
    as_root=(sudo)
    [[ -t 0 ]] || as_root=(sudo -n)
    if ! command -v sudo >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
      echo "Packages are missing. Run this as root, then try again:" >&2
      echo "  apt-get install ${missing[*]}" >&2
      exit 1
    fi
  fi
  echo "Installing ${missing[*]}"
  "${as_root[@]}" apt-get update -q </dev/null
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" \
    </dev/null
}

# Sourced by tests/run.sh and examples/run.sh: the Debian packages that a build needs, and how to get them.

packages=(cmake ninja-build ccache g++ pkg-config git
          libxtensor-dev libopenblas-dev liblapacke-dev libsleef-dev
          doctest-dev libbenchmark-dev zlib1g-dev liblbfgs-dev libmetis-dev libpng-dev nlohmann-json3-dev)
# Plots of reports (without it these hold the numbers as tables), the API's pages.
optional=(gnuplot-nox doxygen)

# Installs what is missing: as root, or through sudo; where neither is possible prints the line to run, and stops.
# Optional packages are tried where that asks no questions, and are missed in one line.
install_packages() {
  command -v dpkg-query >/dev/null || return 0  # not Debian: CMake says what it does not find
  local missing as_root=()
  mapfile -t missing < <(missing_of "${packages[@]}")
  if ((EUID != 0)); then
    as_root=(sudo)
    [[ -t 0 ]] || as_root=(sudo -n)
  fi
  if ((${#missing[@]})); then
    if ((EUID != 0)) && { ! command -v sudo >/dev/null || ! "${as_root[@]}" true 2>/dev/null; }; then
      echo "Packages are missing. Run this as root, then try again:" >&2
      echo "  apt-get install ${missing[*]}" >&2
      exit 1
    fi
    echo "Installing ${missing[*]}"
    "${as_root[@]}" apt-get update -q </dev/null
    install_with "${missing[@]}"
  fi
  mapfile -t missing < <(missing_of "${optional[@]}")
  ((${#missing[@]} == 0)) || { ((EUID == 0)) && install_with "${missing[@]}" >/dev/null 2>&1; } ||
    echo "Not installed, as it is optional: ${missing[*]}"
}

missing_of() {
  local package
  for package in "$@"; do
    [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] || echo "$package"
  done
}

install_with() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" </dev/null
}

# Makes one source of several test files: what they include comes first, then each file in a namespace of its own, so
# that their helpers may have the same names. ROOT is the folder that the files' names in the output start from.
function exists(file,  line, found) { found = (getline line < file) >= 0; close(file); return found }
FNR == 1 {
  folder = FILENAME
  sub(/[^\/]*$/, "", folder)
  files[++count] = substr(FILENAME, length(ROOT) + 2)
}
/^#include/ {
  if (match($0, /"[^"]*"/)) {
    name = substr($0, RSTART + 1, RLENGTH - 2)
    if (exists(folder name)) name = substr(folder, length(ROOT) + 2) name
    $0 = "#include <" name ">"
  }
  if (!seen[$0]++) print
}
END { for (i = 1; i <= count; ++i) printf "namespace file_%d {\n#include <%s>\n}\n", i, files[i] }

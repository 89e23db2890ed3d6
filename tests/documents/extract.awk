# Makes one program of a page's samples: those fenced as ```cpp are statements that run in order, those fenced as
# ```cpp global stand before them, at namespace scope. Errors are reported at the page's own lines.
BEGIN { fence = 0 }
/^```cpp global *$/ { kind = "global"; fence = NR; next }
/^```cpp *$/ { kind = "statements"; fence = NR; next }
/^```/ && fence { fence = 0; next }
fence {
  line = sprintf("#line %d \"%s\"\n%s\n", NR, FILENAME, $0)
  if (kind == "global") globals = globals line
  else statements = statements line
}
END {
  if (fence) { print FILENAME ":" fence ": a sample that does not end" > "/dev/stderr"; exit 1 }
  print "#include <cmath>\n#include <iostream>\n#include <tapestry/tapestry.hpp>\nusing namespace tapestry;"
  printf "%s", globals
  print "int main() {"
  printf "%s", statements
  print "}"
}

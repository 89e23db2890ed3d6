// How the library was built, and what it uses on this machine.
#include <iostream>

#include <tapestry/autodiff/configuration.hpp>

int main() {
  std::cout << tapestry::configuration();
}

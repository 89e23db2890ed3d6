// Has the precompiled headers made, which main.cpp cannot use.

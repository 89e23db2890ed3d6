// Has the precompiled headers made, which the programs share.

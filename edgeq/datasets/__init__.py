"""Published data sets as their authors give them: one set, one file; `places` says where they lie."""

"""One file per backend; the registry imports each only when it is used."""

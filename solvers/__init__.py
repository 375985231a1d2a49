"""Which rows of A z + c can be the strict maximum over a domain? Backends that try, checkers that decide."""

"""Maps of a vocabulary: the rows of a head in two dimensions, for readers. Nothing is proved by them."""

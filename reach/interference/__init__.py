"""How crowded is the output space? Theory, measurements on a model's rows, and controls that chance provides."""

"""Networks: the convolutional encoder and what is built on it."""

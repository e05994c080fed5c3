"""How the network learns: the one loop, its optimizers, what it remembers, who may watch."""

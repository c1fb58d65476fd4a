"""Ways to train one recipe, compared: what each costs, how good it gets, what it forgets, and which to take."""

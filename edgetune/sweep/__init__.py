"""Trainings of one recipe under many settings, chosen by Optuna, until the time is up; the best becomes a recipe."""

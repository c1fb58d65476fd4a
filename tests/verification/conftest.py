from exportableruns import make_run, own_cache

__all__ = ["make_run", "own_cache"]

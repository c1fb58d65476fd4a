"""``edgetune merge``: into which base an adapter belongs, measured; and the merged model as a folder."""

"""Rows: reading, checking, splitting, and turning them into tokens with the loss on the answers.

::

    from edgetune.data.reading import load_rows
    from edgetune.data.splitting import find_leaks, split, take
    from edgetune.data.templating import encode_all, encode_prompts

    loaded = load_rows("rows.jsonl").raise_on_problems()         # file, folder or hub → conversations
    parts = split(loaded.rows, share=0.1, seed=17)               # rows with one prompt stay together
    encoded = encode_all(parts.train, tokenizer, system, 2048, "drop")
    prompts = encode_prompts(parts.heldout, tokenizer, system)   # (ids, reference) to generate and score

Reading and checking need neither torch nor transformers, unless tokens are counted.
"""

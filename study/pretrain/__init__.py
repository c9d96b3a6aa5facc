"""How the embedded checkpoint is made: a tiny CLIP that learns characters from rendered fonts.

`python -m study.pretrain` trains it, `python -m study.pretrain.evaluate` measures it. Neither the
handwritten digits nor the held-out fonts of `study.data.glyphs` are seen in training.
"""

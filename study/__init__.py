"""CLIPFit studies: which biases and LayerNorms of CLIP to tune on a few images."""

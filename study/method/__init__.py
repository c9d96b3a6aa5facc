"""CLIPFit in plain PyTorch: the subset language, freezing, the model, training, deltas.

Li et al., "Vision-Language Model Fine-Tuning via Simple Parameter-Efficient Modification",
EMNLP 2024, arXiv 2409.16718. Nothing here knows of Ray, MLflow or a configuration file.
"""

"""CLIPFit in plain PyTorch: the subset language, freezing, the model, training and deltas.

Li et al., "Vision-Language Model Fine-Tuning via Simple Parameter-Efficient Modification",
EMNLP 2024, arXiv 2409.16718. Nothing here imports Ray or MLflow, or reads a configuration file.
"""

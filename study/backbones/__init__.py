"""Checkpoints of CLIP, SigLIP and OpenCLIP: from a name or a folder to a checked model."""

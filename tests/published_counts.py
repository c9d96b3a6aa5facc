"""How many numbers subsets tune in ViT-B/16: CLIPFit's as the paper tells them."""

VIT_B16: list[tuple[str, int]] = [
    ("clipfit", 46_080),
    ("text.mlp.fc2.bias", 6_144),
    ("vision.ln", 39_936),
    ("none", 0),
    # A block of width w has 3 attention biases of w beside the key's, fc1 of 4w, fc2 of w.
    ("text-bias", 12 * 8 * 512),
    ("text.mlp.fc1.bias", 12 * 2048),
    ("bitfit", 12 * 8 * (512 + 768) + (2 * 12 + 1) * 512 + (2 * 12 + 2) * 768),
    ("ln", 2 * ((2 * 12 + 1) * 512 + (2 * 12 + 2) * 768)),
    ("clipfit - vision.ln[0:6]", 46_080 - 6 * 4 * 768),
]

"""Train the embedded checkpoint again.

The command is `python -m tests.embedded --out DIR`.
"""

import argparse
import logging
import time
from pathlib import Path

from rich.logging import RichHandler


def main():
    """Train and save a checkpoint in Hugging Face format."""
    parser = argparse.ArgumentParser(prog="python -m tests.embedded", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="seed of all draws (default: the recipe's)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])

    # Torch and transformers take seconds to import, which --help can do without.
    import torch

    from tests.embedded.training import Trainer, build_image_processor

    # The number of threads changes the order of sums and so the weights; one works everywhere.
    torch.set_num_threads(1)
    options = {"steps": arguments.steps, "seed": arguments.seed}
    trainer = Trainer(**{name: value for name, value in options.items() if value is not None})
    trainer.run()
    for part in (trainer.model, trainer.tokenizer, build_image_processor()):
        part.save_pretrained(arguments.out)
    count = trainer.model.num_parameters()
    logging.info("%s: %d parameters, %.0f s", arguments.out, count, time.process_time())


if __name__ == "__main__":
    main()

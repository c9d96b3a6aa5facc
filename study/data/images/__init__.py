"""Images from their files to the tensors that an encoder takes."""

"""The image, built and run for real: `make image-test`, that is `python -m tests.image`."""

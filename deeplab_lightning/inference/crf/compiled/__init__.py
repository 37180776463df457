"""The CRF's kernels for CPUs, compiled by numba (`pip install deeplab-lightning[crf]`)."""

"""Short programs to copy from. Each stands alone, and the tests run all of them."""

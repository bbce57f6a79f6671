"""Images in and out: pulling, loading and fetching layers, writing, saving and pushing, manifest lists."""

"""The engine of semantic search: chunks, words, postings, vectors. Knows nothing of sandboxes."""

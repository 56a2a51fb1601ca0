"""What the caches that tests of the store write say of their split."""

from microtome.store.cache.description import CachedSplit

SPLIT = CachedSplit(
    task="task",
    split="test",
    unit="word",
    classes=(),
    credentialed=False,
    segments="together",
    max_length=64,
    truncated_words=0,
)

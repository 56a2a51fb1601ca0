"""A task file drafted from the files of a corpus, with a question where these do not say."""

"""The command `aivideomaker`. It needs the extra `cli`; importing `aivideomaker_async` imports nothing of it."""

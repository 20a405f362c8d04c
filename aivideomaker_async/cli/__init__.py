"""The command `aivideomaker`, of the extra `cli`. Importing `aivideomaker_async` imports nothing of it.

`main.py` is the entry point. `app.py` puts the commands together and runs one of them: arguments are checked first, and
what remains is one coroutine in an event loop of its own. A command that ends early reports how its paid task can be
picked up again (`context.py`), and ends with a code that scripts understand (`exit_codes.py`).

- Commands: `generate_command.py`, `prices.py` (`quote`), `commands.py` (`watch`, `status`, `get`, `list`, `cancel`,
  `account`), `models.py`, `doctor.py` with `doctor_checks.py`, `simulate.py`, `demo.py`.
- Arguments: `spec_commands.py` and `spec_options.py` read the options of `generate` and `quote` from the spec classes;
  `options.py` has those that several commands share.
- A task from its submit to its file: `task_workflow.py`.
- Output: `output.py` writes results, messages and JSON events, `progress.py` shows tasks, `prompt.py` asks.
"""

from aivideomaker_async.simulator.pytest_plugin import (
    aivideomaker_env,
    aivideomaker_simulator,
    aivideomaker_simulator_factory,
)

# Users get these by the entry point; here the checkout need not be installed.
__all__ = ["aivideomaker_env", "aivideomaker_simulator", "aivideomaker_simulator_factory"]

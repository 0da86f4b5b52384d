import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "flows")]


@pytest.fixture(scope="session")
def world():
    """Kafka, Postgres and the sandbox under fire, and one instance of the test stage that went away again."""
    from fleet import World
    world = World()
    world.fleet.remove(world.fleet.of("echo")[0])
    yield world
    world.close()

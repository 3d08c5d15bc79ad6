"""What no test may depend on: the settings of the operator whose copy of the repository this is."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_settings_of_an_operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the scripts at a bucketscribe.env that is not there, in this process and in those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENV_FILE", str(tmp_path_factory.mktemp("operator") / "bucketscribe.env"))
        yield

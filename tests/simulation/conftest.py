"""A simulated patient made by hand, fresh for every test."""

import pytest
from handmade import handmade_patient


@pytest.fixture
def simulated_patient():
    return handmade_patient()

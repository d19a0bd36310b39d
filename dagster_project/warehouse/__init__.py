"""Warehouse: the only way to the DuckDB file, one process at a time.

What lives here: the names that the rest of the program uses. What does not: the work itself, in the modules beside.
"""

from dagster_project.warehouse.errors import WarehouseBusy, WarehouseError
from dagster_project.warehouse.hashing import frame_hash
from dagster_project.warehouse.schema import SCHEMA_VERSION
from dagster_project.warehouse.session import Session
from dagster_project.warehouse.store import Warehouse

__all__ = ["SCHEMA_VERSION", "Session", "Warehouse", "WarehouseBusy", "WarehouseError", "frame_hash"]

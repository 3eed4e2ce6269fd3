"""Bring a database's schema up to date."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def config() -> Config:
    """Alembic's settings: the revisions lie in this package, wherever it is installed, and there is no ini file."""
    settings = Config()
    settings.set_main_option("script_location", "results:migrations")
    return settings


def known_revisions() -> set[str]:
    """Every revision this code can upgrade from."""
    return {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}


def upgrade(connection: Connection) -> None:
    """Upgrade to the newest revision inside the connection's transaction; nothing to do if another process has."""
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")

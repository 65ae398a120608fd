"""Hands settings.ini to setuptools."""

from configparser import ConfigParser

from setuptools import setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
extra = "_requirements"

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    author=settings["author"],
    license_expression=settings["license"],
    license_files=["LICENSE"],
    python_requires=">=" + settings["min_python"],
    packages=["churn_lab", "churn_lab.classroom", "churn_lab.git_lab"],
    package_data={"churn_lab": ["py.typed", "templates/*", "templates/dashboard/*"]},
    install_requires=settings["requirements"].split(),
    extras_require={key.removesuffix(extra): settings[key].split() for key in settings if key.endswith(extra)},
    entry_points={"console_scripts": settings["console_scripts"].split()},
)

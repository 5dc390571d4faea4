"""A headless Chromium of Debian's packages ``chromium`` and ``chromium-driver``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

SECONDS = 30
"""Bound of what happens at once."""


@dataclass(frozen=True)
class Browser:
    """One browser with one page.

    Args:
        driver: Selenium's, for what is not here.
    """

    driver: webdriver.Chrome

    def emulate(self, *, width: int, height: int = 900, dark: bool = False, media: str = "screen") -> None:
        """Be a screen of so many CSS pixels, of a reader who prefers dark or light, or a printer."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # a click must not wait for a page that glides
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def open(self, path: Path) -> None:
        """Load a file."""
        self.driver.get(path.as_uri())

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a JavaScript expression; the arguments are ``arguments[0]``, ..."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def await_(self, condition: str, *arguments: object) -> None:
        """Wait until a JavaScript expression is true."""
        WebDriverWait(self.driver, SECONDS).until(lambda driver: self.run(condition, *arguments))

    def find(self, selector: str) -> WebElement:
        """The first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """What the elements of a CSS selector show."""
        found: list[str] = self.run(
            "[...document.querySelectorAll(arguments[0])].map((element) => element.innerText.trim())", selector
        )
        return found

    def complaints(self) -> list[str]:
        """What the console has said since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser; skips the test where there is none.

    Args:
        profile: an empty folder.
    """
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("Debian's chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()

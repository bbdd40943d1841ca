"""A headless Chromium for tests of the page.

Without one, the tests that need it are skipped, with a reason; with INCEPTION_BROWSER=1 they
fail, as continuous integration requires.
"""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

WANTED = os.environ.get("INCEPTION_BROWSER", "") not in ("", "0")

# No sandbox, since tests may run as root; no background network requests.
FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
    "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
    "hide-scrollbars", "force-device-scale-factor=1",
)  # fmt: skip


class Browser:
    """A browser with one page."""

    def __init__(self) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        driver = shutil.which("chromedriver")
        if program is None or driver is None:
            missing = "chromium" if program is None else "chromedriver"
            message = f"{missing} not found; apt-get install chromium chromium-driver"
            (pytest.fail if WANTED else pytest.skip)(message)
        self.folder = tempfile.mkdtemp(prefix="parity-browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*FLAGS, f"user-data-dir={self.folder}"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def close(self) -> None:
        """Close the browser and leave nothing behind."""
        self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, file: Path, width: int = 1280, height: int = 900, **media: str) -> None:
        """Open a file; `media` sets media features: `prefers_color_scheme="dark"`."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": k.replace("_", "-"), "value": v} for k, v in media.items()]
        media_now = {"media": "", "features": features}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media_now)
        self.log()
        self.driver.get(file.as_uri())

    def log(self) -> list[dict[str, Any]]:
        """Return what is on the console, and clear it."""
        return self.driver.get_log("browser")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        found = self.all(selector)
        assert len(found) == 1, f"{len(found)} elements are {selector}"
        return found[0]

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def printed(self) -> bytes:
        """Return the page as a PDF, as it would be printed."""
        found = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
        return base64.b64decode(found["data"])

//! A browser with a profile of its own, and what a test asks it for.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities as _;
use thirtyfour::error::WebDriverResult;
use thirtyfour::{By, CapabilitiesHelper as _, DesiredCapabilities, WebDriver, WindowHandle};

use crate::driver::{Driver, Programs};

/// How often a page is asked whether it is as a test waits for.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a test waits for a page. It is long for a busy machine, and short against the tests of a minute.
const PATIENCE: Duration = Duration::from_secs(25);

/// A browser. The driver is last, so that it ends after its profile is out of use.
pub struct Browser {
    driver: WebDriver,
    test: &'static str,
    process: Driver,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser for the test of this name.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(programs: &Programs, test: &'static str) -> Self {
        let process = Driver::start(programs).await;
        let profile = TempDir::new().expect("a directory");
        let mut wanted = DesiredCapabilities::chrome();
        let browser = programs.browser.to_str().expect("a path of text");
        let arguments = [
            "--headless=new".to_owned(),
            // Memory that is shared may be scarce in a container.
            "--disable-dev-shm-usage".to_owned(),
            "--window-size=1000,700".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let made = wanted.set_binary(browser).and_then(|()| {
            // Chromium has no sandbox for root.
            if rustix::process::geteuid().is_root() {
                wanted.add_arg("--no-sandbox")?;
            }
            // Pages whose answer is held back must not hold back the test.
            wanted.set("pageLoadStrategy", "none")?;
            arguments
                .iter()
                .try_for_each(|argument| wanted.add_arg(argument))
        });
        made.expect("capabilities");
        let driver = WebDriver::new(process.url(), wanted).await;
        Self {
            driver: driver.expect("a browser"),
            test,
            process,
            _profile: profile,
        }
    }

    /// Ends the browser.
    pub async fn quit(self) {
        let quitted = self.driver.quit().await;
        drop(self.process);
        quitted.expect("the browser ends");
    }

    /// Opens an address in the current tab, and waits until its page is there.
    pub async fn open(&self, url: impl Display) {
        let url = url.to_string();
        self.leave(async || self.driver.goto(&url).await).await;
    }

    /// Loads the page of the current tab again, and waits until it is there.
    pub async fn reload(&self) {
        self.leave(async || self.start_script("location.reload()").await)
            .await;
    }

    /// Goes back in the history of the current tab, and waits until another page is there.
    pub async fn back(&self) {
        self.leave(async || self.start_script("history.back()").await)
            .await;
    }

    /// Clicks on the element with this id, which leads to another page, and waits until that is there.
    pub async fn follow(&self, id: &str) {
        self.leave(async || self.driver.find(By::Id(id)).await?.click().await)
            .await;
    }

    /// Clicks on the element with this id.
    pub async fn click(&self, id: &str) {
        let element = self.driver.find(By::Id(id)).await.expect("an element");
        element.click().await.expect("a click");
    }

    /// Runs this script in the page, and returns what it returns.
    pub async fn run(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::new()).await;
        result.expect("the script runs").json().clone()
    }

    /// Runs this script in the page, with one argument.
    pub async fn run_with(&self, script: &str, argument: impl Into<Value>) -> Value {
        let result = self.driver.execute(script, vec![argument.into()]).await;
        result.expect("the script runs").json().clone()
    }

    /// Runs a function of the page that returns a promise, and returns what the promise brings.
    pub async fn ask(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; Promise.resolve({expression}).then(done, e => done(String(e)))"
        );
        let result = self.driver.execute_async(&script, Vec::new()).await;
        result.expect("the script runs").json().clone()
    }

    /// The text of the element with this id, if there is one.
    pub async fn text(&self, id: &str) -> Option<String> {
        let script = "return document.getElementById(arguments[0])?.textContent ?? null";
        let text = self.driver.execute(script, vec![id.into()]).await.ok()?;
        text.json().as_str().map(str::to_owned)
    }

    /// Waits until the element with this id has this text.
    ///
    /// # Panics
    ///
    /// If it has not after a while.
    pub async fn shows(&self, id: &str, expected: &str) {
        let is_there = async || self.text(id).await.as_deref() == Some(expected);
        if !until(is_there).await {
            let url = self.url().await;
            let text = self.text(id).await;
            self.screenshot("failure").await;
            panic!("`{id}` of {url} is {text:?}, and not {expected:?}");
        }
    }

    /// Waits until this expression is true in the page.
    ///
    /// # Panics
    ///
    /// If it is not after a while.
    pub async fn is(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let is_so = async || {
            let result = self.driver.execute(&script, Vec::new()).await;
            result.is_ok_and(|result| result.json() == &Value::Bool(true))
        };
        if !until(is_so).await {
            let url = self.url().await;
            self.screenshot("failure").await;
            panic!("{url} is not as expected: {expression}");
        }
    }

    /// The address of the page.
    pub async fn url(&self) -> String {
        let url = self.driver.current_url().await;
        url.expect("an address").to_string()
    }

    /// Opens a tab with this address, and waits until its page is there.
    pub async fn tab(&self, url: impl Display) -> WindowHandle {
        let tab = self.driver.new_tab().await.expect("a tab");
        self.switch(&tab).await;
        self.open(url).await;
        tab
    }

    /// The current tab.
    pub async fn current(&self) -> WindowHandle {
        self.driver.window().await.expect("a tab")
    }

    /// Goes on with another tab.
    pub async fn switch(&self, tab: &WindowHandle) {
        let switched = self.driver.switch_to_window(tab.clone()).await;
        switched.expect("the tab is there");
    }

    /// Closes the current tab.
    pub async fn close(&self) {
        self.driver.close_window().await.expect("a tab");
    }

    /// The cookies of the gateway that the browser has for the site of the current page, with their values.
    pub async fn cookies(&self) -> Vec<(String, String)> {
        let cookies = self.driver.get_all_cookies().await.expect("cookies");
        let own = cookies.into_iter();
        let own = own.filter(|cookie| cookie.name.starts_with(crate::front::COOKIES));
        let mut own: Vec<_> = own.map(|cookie| (cookie.name, cookie.value)).collect();
        own.sort();
        own
    }

    /// Waits until the cookies of the gateway are not these any more, and returns them.
    ///
    /// # Panics
    ///
    /// If they stay as they are.
    pub async fn other_cookies(&self, than: &[(String, String)]) -> Vec<(String, String)> {
        let is_other = until(async || self.cookies().await != than).await;
        assert!(is_other, "the browser keeps the cookies that it had");
        self.cookies().await
    }

    /// Writes what the tab shows into the target directory.
    pub async fn screenshot(&self, name: &str) {
        let directory = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => PathBuf::from(target),
            None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")),
        };
        let directory = directory.join("browser");
        std::fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join(format!("{}-{name}.png", self.test));
        let taken = self.driver.screenshot(&file).await;
        taken.expect("a screenshot");
    }

    /// Does what leads to another document, and waits until that is there.
    async fn leave(&self, act: impl AsyncFnOnce() -> WebDriverResult<()>) {
        self.run("window.isLeft = true; window.isRestored = false")
            .await;
        act().await.expect("the browser goes on");
        // What the browser restores out of its memory has the mark that it was left with.
        self.is("(!window.isLeft || window.isRestored) && document.readyState === 'complete' && location.href !== 'about:blank'")
            .await;
    }

    /// Runs a script that ends the page, after the command has its answer: the driver repeats a command whose answer the end of
    /// the page has cut off.
    async fn start_script(&self, script: &str) -> WebDriverResult<()> {
        let later = format!("setTimeout(() => {{ {script} }})");
        self.driver.execute(&later, Vec::new()).await.map(drop)
    }
}

/// Whether a condition holds after a while at last.
async fn until(condition: impl AsyncFn() -> bool) -> bool {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.is_ok()
}

// One process that drives every browser of a test run, by puppeteer-core.
//
// Protocol: one JSON object a line. In: {id, op, ...}. Out: {id, result} or {id, error}, and
// {event: "console", page, text} for what a page logs. Requests run side by side; answers come
// in the order in which they end. When stdin ends, every browser is closed and the process ends.

import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
  "--disable-background-networking",
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

const FIREFOX_PREFS = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.devices.insecure.enabled": true,
  "media.getusermedia.insecure.enabled": true,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  "media.peerconnection.ice.loopback": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  "media.gmp-manager.url": "",
  "media.gmp-provider.enabled": false,
  "app.normandy.enabled": false,
  "datareporting.healthreport.uploadEnabled": false,
  "network.captive-portal-service.enabled": false,
};

const LAUNCH_TIMEOUT_MS = 60_000;
const CALL_TIMEOUT_MS = 180_000; // an evaluation may watch a call for a minute and more

const browsers = new Map();
const pages = new Map();
let lastHandle = 0;

function write(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

const CAMERA_FLAGS = {
  fake: ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=30"],
  none: ["--use-fake-ui-for-media-stream"],
  denied: ["--deny-permission-prompts", "--use-fake-device-for-media-stream=fps=30"],
};
const CAMERA_PREFS = {
  fake: {},
  none: { "media.navigator.streams.fake": false },
  denied: { "media.navigator.permission.disabled": false, "permissions.default.camera": 2,
    "permissions.default.microphone": 2 },
};

function launchOptions({ browser, executable, flags = [], camera = "fake", trust = null }) {
  const common = {
    headless: true,
    acceptInsecureCerts: trust === null,
    timeout: LAUNCH_TIMEOUT_MS,
    protocolTimeout: CALL_TIMEOUT_MS,
    executablePath: executable,
    defaultViewport: null,
  };
  if (browser === "firefox") {
    const all = { ...FIREFOX_PREFS, ...CAMERA_PREFS[camera] };
    const profile = trust === null ? {} : { userDataDir: `${trust}/profile` };
    return { ...common, ...profile, browser: "firefox", args: flags, extraPrefsFirefox: all };
  }
  const home = trust === null ? {} : { env: { ...process.env, HOME: trust } };
  const args = [...CHROMIUM_FLAGS, ...CAMERA_FLAGS[camera], ...flags];
  return { ...common, ...home, browser: "chrome", args };
}

function found(table, handle, what) {
  const value = table.get(handle);
  if (value === undefined) throw new Error(`no such ${what}: ${handle}`);
  return value;
}

const operations = {
  async launch(request) {
    const browser = await puppeteer.launch(launchOptions(request));
    const handle = ++lastHandle;
    browsers.set(handle, browser);
    return { browser: handle, version: await browser.version(), pid: browser.process()?.pid ?? null };
  },

  async close({ browser }) {
    const open = found(browsers, browser, "browser");
    browsers.delete(browser);
    await open.close();
    return null;
  },

  async page({ browser, url }) {
    const page = await found(browsers, browser, "browser").newPage();
    const handle = ++lastHandle;
    pages.set(handle, page);
    page.on("console", (message) => write({ event: "console", page: handle, text: message.text() }));
    page.on("pageerror", (error) =>
      write({ event: "console", page: handle, text: `uncaught: ${error?.stack ?? error}` }),
    );
    await page.goto(url, { waitUntil: "load" });
    return { page: handle };
  },

  async goto({ page, url }) {
    const response = await found(pages, page, "page").goto(url, { waitUntil: "load" });
    return { status: response?.status() ?? null };
  },

  async viewport({ page, width, height, scale = 1, dark = null }) {
    const open = found(pages, page, "page");
    await open.setViewport({ width, height, deviceScaleFactor: scale });
    if (dark !== null) {
      await open.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
    }
    return null;
  },

  // A string of source, not a function: a page with a strict Content-Security-Policy forbids eval.
  async evaluate({ page, js, arg }) {
    const argument = arg === undefined ? "" : JSON.stringify(arg);
    return (await found(pages, page, "page").evaluate(`(${js})(${argument})`)) ?? null;
  },

  async screenshot({ page, path, fullPage = false }) {
    await found(pages, page, "page").screenshot({ path, fullPage });
    return null;
  },

  async closePage({ page }) {
    const open = found(pages, page, "page");
    pages.delete(page);
    await open.close();
    return null;
  },
};

async function serve(line) {
  const request = JSON.parse(line);
  try {
    const operation = operations[request.op];
    if (operation === undefined) throw new Error(`no such operation: ${request.op}`);
    write({ id: request.id, result: await operation(request) });
  } catch (error) {
    write({ id: request.id, error: String(error?.stack ?? error) });
  }
}

async function closeAll() {
  await Promise.allSettled([...browsers.values()].map((browser) => browser.close()));
  process.exit(0);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void serve(line));
lines.on("close", () => void closeAll());
process.on("SIGTERM", () => void closeAll());

import "@fontsource-variable/inter/wght.css";
import "webrtc-adapter";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./ui/App";
import "./ui/theme.css";
import "./ui/page.css";
import "./ui/call.css";

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no #root");
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);

import { ArrowRight, Video } from "lucide-react";
import { useState, type SyntheticEvent } from "react";

import { makeRoom, RoomError } from "../room/api";
import { inviteHash, readPasted } from "../room/link";
import { keepMade } from "../room/seat";
import { Button, Mark } from "./parts";

export function Home() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [pasted, setPasted] = useState("");

  const make = async (): Promise<void> => {
    setBusy(true);
    try {
      location.hash = keepMade(await makeRoom());
    } catch (error) {
      setProblem(error instanceof RoomError ? error.message : "The server does not answer. Is it running, and the network up?");
      setBusy(false);
    }
  };
  const join = (event: SyntheticEvent): void => {
    event.preventDefault();
    const invite = readPasted(pasted);
    if (invite === null) setProblem("That is no invitation. It looks like this page's address, with #room= in it.");
    else location.hash = inviteHash(invite);
  };

  return (
    <main className="home">
      <header className="top">
        <Mark />
      </header>
      <div className="home-middle">
        <section className="home-words">
          <h1>Meet face to face, on a server of your own.</h1>
          <p className="lead">No account and nothing to install. Make a meeting, send the link, and talk.</p>
          <div className="home-actions">
            <Button look="accent" className="button-large" disabled={busy} onClick={() => void make()} id="new-meeting">
              <Video aria-hidden="true" /> {busy ? "One moment…" : "New meeting"}
            </Button>
            <form className="paste" onSubmit={join}>
              <input
                className="input"
                aria-label="Invitation link"
                placeholder="Paste an invitation link"
                value={pasted}
                onChange={(event) => setPasted(event.target.value)}
              />
              <button className="button button-plain" type="submit" disabled={pasted.trim() === ""} aria-label="Join by this link">
                <ArrowRight aria-hidden="true" />
              </button>
            </form>
          </div>
          <p className="problem-line" role="status">{problem}</p>
        </section>
        <div className="home-art" aria-hidden="true">
          {["AK", "JM", "SO", "LN", "RB", "TW"].map((letters, index) => (
            <div key={letters} className={`art-tile hue-${index * 2}`}>
              <span>{letters}</span>
            </div>
          ))}
        </div>
      </div>
    </main>
  );
}

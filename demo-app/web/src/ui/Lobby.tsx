import { CircleCheck, CircleX, LoaderCircle, Mic, MicOff, TriangleAlert, Video as VideoIcon, VideoOff } from "lucide-react";
import { useState, type SyntheticEvent } from "react";

import { preCallTest, type TestResult } from "../call/precall";
import type { LocalMedia } from "../media/local";
import type { Problem } from "../media/problems";
import type { SettingsStore } from "../media/settings";
import { NAME_CHARS } from "../room/messages";
import { DeviceChoice } from "./Devices";
import { useLoudness, useStore } from "./hooks";
import { initialsOf } from "./names";
import { Button, IconButton, LevelBars, Mark } from "./parts";
import { Video } from "./Video";

interface Props {
  local: LocalMedia;
  settings: SettingsStore;
  onJoin: () => void;
}

export function Lobby({ local, settings, onJoin }: Props) {
  const { microphone, microphoneOn, camera, problems, opening } = useStore(local.state);
  const { name, mirror } = useStore(settings);
  const level = useLoudness(microphone, microphoneOn);
  const ready = name.trim() !== "";
  const join = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (ready) onJoin();
  };
  return (
    <main className="lobby">
      <header className="top">
        <Mark />
      </header>
      <div className="lobby-middle">
        <section className="preview" aria-label="Your picture">
          {camera === null ? (
            <div className="preview-off">
              {opening.has("camera") ? <LoaderCircle className="spin" aria-hidden="true" /> : <span className="avatar avatar-large">{initialsOf(name)}</span>}
              <p>{opening.has("camera") ? "Allow the camera in the question above, if your browser asks." : "Your camera is off"}</p>
            </div>
          ) : (
            <Video track={camera} mirror={mirror} label="Your camera" />
          )}
          <div className="preview-bar">
            <IconButton
              id="lobby-microphone"
              label={microphoneOn ? "Microphone off" : "Microphone on"}
              look={microphoneOn ? "on" : "off"}
              icon={microphoneOn ? <Mic /> : <MicOff />}
              onClick={() => void local.setMicrophone(!microphoneOn)}
            />
            <IconButton
              id="lobby-camera"
              label={camera === null ? "Camera on" : "Camera off"}
              look={camera === null ? "off" : "on"}
              icon={camera === null ? <VideoOff /> : <VideoIcon />}
              onClick={() => void local.setCamera(camera === null)}
            />
          </div>
          <div className="preview-level">
            <LevelBars level={level} />
          </div>
        </section>
        <form className="card lobby-card" onSubmit={join}>
          <h1>Ready to join?</h1>
          <label className="field">
            <span className="field-label">Your name</span>
            <input
              id="name"
              className="input"
              value={name}
              maxLength={NAME_CHARS}
              autoComplete="name"
              placeholder="How others see you"
              onChange={(event) => settings.set({ name: event.target.value })}
            />
          </label>
          {problems.camera !== undefined && <ProblemBox problem={problems.camera} retry={() => void local.setCamera(true)} />}
          {problems.microphone !== undefined && problems.microphone.title !== problems.camera?.title && (
            <ProblemBox problem={problems.microphone} retry={() => void local.setMicrophone(true)} />
          )}
          <DeviceChoice local={local} settings={settings} />
          <PreCallTest />
          <button id="join" className="button button-accent button-large button-wide" type="submit" disabled={!ready}>
            Join now
          </button>
        </form>
      </div>
    </main>
  );
}

function ProblemBox({ problem, retry }: { problem: Problem; retry: () => void }) {
  return (
    <div className="problem" role="alert">
      <TriangleAlert aria-hidden="true" />
      <div>
        <strong>{problem.title}</strong>
        <p>{problem.text}</p>
        <Button look="quiet" onClick={retry}>
          Try again
        </Button>
      </div>
    </div>
  );
}

function PreCallTest() {
  const [state, setState] = useState<"idle" | "running" | TestResult>("idle");
  const run = async (): Promise<void> => {
    setState("running");
    setState(await preCallTest());
  };
  return (
    <div className="precall" role="status" id="precall">
      {state === "idle" && (
        <Button look="quiet" onClick={() => void run()}>
          Test the connection
        </Button>
      )}
      {state === "running" && (
        <p className="precall-line">
          <LoaderCircle className="spin" aria-hidden="true" /> Sending sound to the server and back…
        </p>
      )}
      {typeof state === "object" && (
        <>
          <p className={`precall-line precall-${state.verdict}`}>
            {state.verdict === "bad" ? <CircleX aria-hidden="true" /> : <CircleCheck aria-hidden="true" />} {state.text}
          </p>
          <Button look="quiet" onClick={() => void run()}>
            Test again
          </Button>
        </>
      )}
    </div>
  );
}

// Two peers of one page that meet through a TURN server and nowhere else, then part.

const deadlineMs = 20_000;

export async function callThroughRelay(server) {
  const configuration = { iceServers: [server], iceTransportPolicy: "relay" };
  const [caller, callee] = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
  const tell = (to) => ({ candidate }) => candidate && to.addIceCandidate(candidate);
  caller.onicecandidate = tell(callee);
  callee.onicecandidate = tell(caller);
  const echoed = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`no echo: ${caller.iceConnectionState}`)), deadlineMs);
    callee.ondatachannel = ({ channel }) => {
      channel.onmessage = ({ data }) => channel.send(data);
    };
    const channel = caller.createDataChannel("echo");
    channel.onopen = () => channel.send("hello");
    channel.onmessage = ({ data }) => resolve(data);
  });
  await caller.setLocalDescription();
  await callee.setRemoteDescription(caller.localDescription);
  await callee.setLocalDescription();
  await caller.setRemoteDescription(callee.localDescription);
  try {
    return await echoed;
  } finally {
    caller.close();
    callee.close();
  }
}

/**
 * Owns the graphs that tests of the agent submit.
 * Invariant: each runs on the simulator, and the model-free ones on a real ComfyUI without any model.
 */

/** The seven nodes of an ordinary text-to-image graph. */
export function textToImage(options: { steps?: number; seed?: string; prompt?: string } = {}): string {
  const { steps = 20, seed = "42", prompt = "a lighthouse" } = options;
  return `{
    "3":{"class_type":"KSampler","inputs":{"seed":${seed},"steps":${steps},"cfg":8.0,"sampler_name":"euler","scheduler":"normal","denoise":1.0,"model":["4",0],"positive":["6",0],"negative":["7",0],"latent_image":["5",0]}},
    "4":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"v1-5-pruned-emaonly.ckpt"}},
    "5":{"class_type":"EmptyLatentImage","inputs":{"width":128,"height":128,"batch_size":1}},
    "6":{"class_type":"CLIPTextEncode","inputs":{"text":${JSON.stringify(prompt)},"clip":["4",1]}},
    "7":{"class_type":"CLIPTextEncode","inputs":{"text":"","clip":["4",1]}},
    "8":{"class_type":"VAEDecode","inputs":{"samples":["3",0],"vae":["4",2]}},
    "9":{"class_type":"SaveImage","inputs":{"images":["8",0],"filename_prefix":"pictures/mine"}}}`;
}

/** Two files by two nodes, without a model. */
export function twoPictures(color = 255): object {
  return {
    "1": { class_type: "EmptyImage", inputs: { width: 64, height: 48, batch_size: 1, color } },
    "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "first" } },
    "3": { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
    "4": { class_type: "SaveImage", inputs: { images: ["3", 0], filename_prefix: "second" } },
  };
}

/** Text and nothing else. */
export function onlyText(text = "hello"): object {
  return {
    "1": { class_type: "StringConcatenate", inputs: { string_a: text, string_b: "world", delimiter: " " } },
    "2": { class_type: "PreviewAny", inputs: { source: ["1", 0] } },
  };
}

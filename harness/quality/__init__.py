"""This folder measures image quality: CLIPScore, FID, KID, SSIM, PSNR and LPIPS of generated crops."""

"""Image quality: CLIPScore, FID, KID, SSIM, PSNR and LPIPS of generated crops."""
